/** The encoder's Worker, private: all of the encoder, or the layers that a chain gives it. */
import { Half, halfApp } from "../shared/half.ts";
import { encoderRoutes } from "./routes.ts";

// An encode runs from start to end in one turn of the event loop.
const half = new Half(["encoder"], () => false);

const app = halfApp(half, () => ({}));
app.route(
  "/",
  encoderRoutes((c, model) => half.engine(c, model)),
);

export default app;
