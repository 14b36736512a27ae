/**
 * Fine-tuned models as OpenAI names them, `ft:BASE:TENANT:SUFFIX:ID`: an adapter of the tenant's beside its base; and what
 * it was at a checkpoint, `…:ckpt-step-N`. Whatever stands in the name, another tenant's is not found.
 */

export interface FineTuned {
  base: string;
  tenant: string;
  adapter: string;
  /** Of a checkpoint; null: what it ended as. */
  step: number | null;
}

const NAME =
  /^ft:([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([a-z0-9-]{2,39}):([A-Za-z0-9_-]{0,64}):([a-z0-9]{1,40})(?::ckpt-step-(\d{1,9}))?$/;

/** @param id of the job, without its prefix */
export function fineTunedName(base: string, tenant: string, suffix: string | null, id: string): string {
  return `ft:${base}:${tenant}:${suffix ?? ""}:${id}`;
}

/** The adapter's name, as its task's definition and its days on the bill have it. */
export function fineTunedAdapter(id: string): string {
  return `ft-${id}`;
}

/** A checkpoint's name, of the fine-tuned model's. */
export function checkpointName(fineTuned: string, step: number): string {
  return `${fineTuned}:ckpt-step-${step}`;
}

/** @returns null for what is no such name */
export function parseFineTuned(name: string): FineTuned | null {
  const match = NAME.exec(name);
  if (!match) return null;
  const [, base = "", tenant = "", , id = "", step] = match;
  return { base, tenant, adapter: fineTunedAdapter(id), step: step === undefined ? null : Number(step) };
}
