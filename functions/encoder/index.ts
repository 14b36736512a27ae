/** The encoder's Worker, private: all of the encoder, or the layers that a chain gives it. */
import { Half, halfApp, NOTHING_OPEN, usedPart } from "../shared/half.ts";
import { encoderRoutes } from "./routes.ts";

const half = new Half(["encoder"], () => NOTHING_OPEN);

const app = halfApp(half, () => ({}));
app.route(
  "/",
  encoderRoutes(async (c, model) => usedPart(await half.use(c, model), "encoder")),
);

export default app;
