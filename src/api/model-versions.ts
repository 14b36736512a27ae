/** `/admin/models` on the wire. */
import * as z from "zod";

export const publishSchema = z.strictObject({
  version: z.string(),
  /** Whether the Workers must load the version before requests get it. */
  check: z.boolean().default(true),
});

export const rollbackSchema = z.strictObject({ version: z.string().optional() });
