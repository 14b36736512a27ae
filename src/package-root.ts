/** The kit's own folder, whether this file runs from its source or compiled, from `dist/src`. */
export const PACKAGE_ROOT = new URL(
  import.meta.url.endsWith("/dist/src/package-root.js") ? "../../" : "../",
  import.meta.url,
);
