/** Checkpoints from the Hugging Face hub. Apart from the rest of model-split, so that who has a directory loads none of it. */
export { type DownloadOptions, type DownloadProgress, downloadCheckpoint } from "./download.ts";
export { type HubRepository, parseHubRepository } from "./repository.ts";
export { type HubSettings, readHubSettings } from "./settings.ts";
