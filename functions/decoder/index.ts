/** The decoder's Worker, private: all of the decoder, or the layers that a chain gives it. */
import { Half, halfApp } from "../shared/half.ts";
import { decoderActivity, decoderHealth, decoderRoutes } from "./routes.ts";

const half = new Half(["decoder"], ({ decoder }) => decoderActivity(decoder));

const app = halfApp(half, ({ decoder }) => decoderHealth(decoder));
app.route(
  "/",
  decoderRoutes((c, model) => half.use(c, model)),
);

export default app;
