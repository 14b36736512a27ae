/** The encoder's Worker, private: all of the encoder, or the layers that a chain gives it. */
import { Half, halfApp, NOTHING_OPEN } from "../shared/half.ts";
import { encoderRoutes } from "./routes.ts";

const half = new Half(["encoder"], () => NOTHING_OPEN);

const app = halfApp(half, () => ({}));
app.route(
  "/",
  encoderRoutes((c, model) => half.use(c, model)),
);

export default app;
