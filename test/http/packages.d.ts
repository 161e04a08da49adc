/** Types for packages that bring none, and globals that packages take for granted. */
declare module 'express4' {
  export { default } from 'express';
}

type BufferSource = ArrayBufferView | ArrayBuffer;
