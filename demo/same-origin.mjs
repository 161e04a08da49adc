/** Who may press the buttons of the live page: that page itself. */

const LOOPBACK = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/;

/**
 * Whether the browser asked for this machine by its own name. A name that an attacker's DNS server leads here is
 * another one.
 *
 * @param {import('node:http').IncomingMessage} request
 */
export function isAskedHere({ headers: { host = '' } }) {
  return LOOPBACK.test(host);
}

/**
 * Whether the page that sends the request came from this very server. A browser names the page's origin in every POST,
 * and a page cannot change that.
 *
 * @param {import('node:http').IncomingMessage} request
 */
export function isFromOwnPage(request) {
  const { host, origin } = request.headers;
  return isAskedHere(request) && origin === `http://${host}`;
}
