/** Types for packages that bring none. */
declare module 'express4' {
  export { default } from 'express';
}
