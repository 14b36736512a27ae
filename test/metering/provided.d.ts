import "vitest";

declare module "vitest" {
  /** What a global setup gives the tests. */
  interface ProvidedContext {
    /** Of the local double of Stripe. */
    stripeUrl: string;
    /** Of test/placement/silent-origin.ts. */
    silentOriginUrl: string;
  }
}
