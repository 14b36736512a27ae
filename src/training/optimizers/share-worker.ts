/** A thread with a share of the parameters, in memory that it shares with the learner's thread. */
import { parentPort, workerData } from "node:worker_threads";
import { Share, type ShareRequest, type UpdateRequest } from "./share.ts";

const share = new Share(workerData as ShareRequest);
parentPort!.on("message", (update: UpdateRequest | null) => {
  parentPort!.postMessage(update ? share.update(update) : share.squares());
});
