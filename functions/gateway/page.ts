/** What the gateway's pages share: their look, and headers by which a page does nothing but what it is for. */

/** Colours and what every page is set in; a page's own rules come after it. */
export const BASE_STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d5d9e0,#3a414d);--soft:light-dark(#f3f5f8,#1d2229);--link:light-dark(#0b57d0,#8ab4f8)}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;background:light-dark(#fff,#13171d);color:light-dark(#1b1f24,#e6e9ee);overflow-wrap:anywhere}
a{color:var(--link)}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
code,pre{font:.9em/1.45 ui-monospace,monospace}
`;

/**
 * @param style the text of the page's one style element, which its hash names
 * @param allowed more of the policy, such as `script-src 'self'`
 */
export async function pageHeaders(style: string, allowed: readonly string[] = []): Promise<Record<string, string>> {
  const policy = [
    "default-src 'none'",
    `style-src 'sha256-${btoa(String.fromCharCode(...(await sha256(style))))}'`,
    ...allowed,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return {
    "content-security-policy": policy.join("; "),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };
}

export async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
