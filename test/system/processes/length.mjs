// @ts-check
/** `TEST_LONG=1` makes process tests run as long as a release needs, which is too long for CI. */
export const isLong = process.env['TEST_LONG'] === '1';
