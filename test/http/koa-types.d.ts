export {};

/** @types/koa names a type that the package's newer version does not have. */
declare module 'content-disposition' {
  interface Options {
    type?: string;
    fallback?: string | boolean;
  }
}
