/** `edge-t5 push PACKAGE --name NAME` */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import { MANIFEST_KEY, readManifest } from "../t5/manifest.ts";
import { type PushResult, pushPackage } from "../tenancy/push-package.ts";
import { wholeNumber } from "./arguments.ts";
import { type ControlPlaneArgs, controlPlaneOptions } from "./control-plane.ts";
import { abortOnSignals, formatBytes, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { GatewayPush } from "./push-target.ts";

export default defineCommand({
  meta: { name: "push", description: "Upload a package as a version of a model, and have requests get it" },
  args: {
    package: { type: "positional", required: true, description: "Package folder" },
    name: { type: "string", valueHint: "name", description: "The model's name; default: the package's own" },
    publish: {
      type: "boolean",
      default: true,
      description: "Have requests get it",
      negativeDescription: "Only upload",
    },
    check: {
      type: "boolean",
      default: true,
      description: "Have the Workers load it first: one that does not load is not published",
      negativeDescription: "Publish it unseen",
    },
    parallel: { type: "string", default: "4", valueHint: "n", description: "Blobs uploaded side by side, 1 to 16" },
    ...controlPlaneOptions,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const parallel = wholeNumber("--parallel", args.parallel, 1, 16);
    const interruption = abortOnSignals();
    try {
      const pushed = await pushFolder(args.package, args, {
        name: args.name,
        parallel,
        publish: args.publish,
        check: args.check,
        quiet: args.json === true,
        signal: interruption.signal,
      });
      if (args.json) return printJson(pushed);
      const { name, version, uploaded, skipped, bytes_uploaded, published, url } = pushed;
      console.log(
        `${name}@${version}: ${uploaded} blobs uploaded (${formatBytes(bytes_uploaded)}), ${skipped} were there`,
      );
      console.log(
        published
          ? `Requests to ${url} get it, all of them within ten seconds. Back again: edge-t5 rollback ${name}`
          : `Not published. To have requests get it, push again without --no-publish.`,
      );
    } finally {
      interruption.dispose();
    }
  },
});

export interface PushedModel {
  name: string;
  version: string;
  uploaded: number;
  skipped: number;
  bytes_uploaded: number;
  published: boolean;
  /** Requests got this version before already. */
  was_current: boolean;
  url: string;
}

/**
 * Uploads a package to a gateway, and publishes it.
 *
 * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`; `E_INPUT` when the gateway refuses, `E_IO` when it fails or cannot be reached
 */
export async function pushFolder(
  dir: string,
  gateway: ControlPlaneArgs,
  options: {
    name?: string | undefined;
    parallel: number;
    publish: boolean;
    check: boolean;
    quiet: boolean;
    signal: AbortSignal;
  },
): Promise<PushedModel> {
  const manifest = await readManifest(new FolderStore(dir));
  const name = options.name ?? manifest.name;
  const total = Object.values(manifest.blobs).reduce((sum, { bytes }) => sum + bytes, 0);
  const progress = options.quiet ? null : createProgress();
  let sent = 0;
  let ended = 0;
  const show = (what: string) => progress?.update(Math.min(total, Math.max(sent, ended)), total, what);
  try {
    const target = await GatewayPush.connect(gateway, {
      dir,
      name,
      signal: options.signal,
      onSent: (bytes) => {
        sent += bytes;
        show("uploading");
      },
    });
    const text = await readFile(join(dir, MANIFEST_KEY), "utf8");
    const result: PushResult = await pushPackage(text, target, {
      parallel: options.parallel,
      signal: options.signal,
      onProgress: (done) => {
        ended = done;
        show("uploading");
      },
    });
    const wasCurrent = options.publish && (await target.current()) === result.version;
    if (options.publish && !wasCurrent) await target.publish(result.version, options.check);
    return {
      name,
      version: result.version,
      uploaded: result.uploaded,
      skipped: result.skipped,
      bytes_uploaded: result.bytesUploaded,
      published: options.publish,
      was_current: wasCurrent,
      url: target.url,
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new EdgeT5Error(
        "E_BLOB_MISSING",
        `${dir} is incomplete: ${(error as Error).message}. Re-run edge-t5 split.`,
      );
    }
    throw error;
  } finally {
    progress?.stop();
  }
}
