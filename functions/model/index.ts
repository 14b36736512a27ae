/** A small model's encoder and decoder in one private Worker: one memory, the embedding held once. */
import type { Role } from "../../src/t5/engine.ts";
import { decoderActivity, decoderHealth, decoderRoutes } from "../decoder/routes.ts";
import { encoderRoutes } from "../encoder/routes.ts";
import { Half, halfApp } from "../shared/half.ts";

const half = new Half<Role>(["encoder", "decoder"], ({ decoder }) => decoderActivity(decoder));

const app = halfApp(half, ({ decoder }) => decoderHealth(decoder));
app.route(
  "/",
  encoderRoutes((c, model) => half.use(c, model)),
);
app.route(
  "/",
  decoderRoutes((c, model) => half.use(c, model)),
);

export default app;
