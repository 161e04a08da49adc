/** A name of the DOM library that the types of structured-headers use. */
type BufferSource = ArrayBufferView | ArrayBuffer;
