/** The decoder's Worker, private: all of the decoder, or the layers that a chain gives it. */
import { Half, halfApp } from "../shared/half.ts";
import { decoderHealth, decoderRoutes } from "./routes.ts";

const half = new Half(["decoder"], ({ decoder }) => decoder.openSequences > 0);

const app = halfApp(half, ({ decoder }) => decoderHealth(decoder));
app.route(
  "/",
  decoderRoutes((c, model) => half.engine(c, model)),
);

export default app;
