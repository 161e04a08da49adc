const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Sun, 06 Nov 1994 08:49:37 GMT`: the form to send. */
const IMF_FIXDATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/;
/** `Sunday, 06-Nov-94 08:49:37 GMT`. */
const RFC_850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-(?<month>[A-Z][a-z]{2})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/;
/** `Sun Nov  6 08:49:37 1994`. */
const ASCTIME =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/;

/**
 * Unix milliseconds of an HTTP date in any of the three forms that a recipient must accept (RFC 9110 §5.6.7);
 * undefined for any other text. The weekday is not checked.
 *
 * @param nowMs Unix milliseconds: a year of two digits is the last such year at most 50 years ahead
 */
export function parseHttpDate(text: string, nowMs: number): number | undefined {
  const parts = (IMF_FIXDATE.exec(text) ?? RFC_850.exec(text) ?? ASCTIME.exec(text))?.groups;
  if (parts === undefined) return undefined;
  const day = Number(parts['day']);
  const month = MONTHS.indexOf(parts['month']!);
  const [hour, minute, second] = parts['time']!.split(':').map(Number) as [number, number, number];
  // A leap second becomes the second after it.
  if (hour > 23 || minute > 59 || second > 60) return undefined;
  const midnight = Date.UTC(fullYear(parts['year']!, nowMs), month, day);
  const read = new Date(midnight);
  // Date.UTC turns a day that does not exist into one of the next month.
  if (read.getUTCMonth() !== month || read.getUTCDate() !== day) return undefined;
  return midnight + (hour * 3_600 + minute * 60 + second) * 1_000;
}

function fullYear(digits: string, nowMs: number): number {
  if (digits.length === 4) return Number(digits);
  const latest = new Date(nowMs).getUTCFullYear() + 50;
  return latest - ((latest - Number(digits)) % 100);
}
