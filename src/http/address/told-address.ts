import { invalidOption } from '../../base/errors.ts';
import { readFunction } from '../../options/read-options.ts';
import type { AddressSource } from './client-address.ts';

/**
 * Checks the option `address`: a function, and not together with `identify`. Undefined stands for no options.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 */
export function readAddressOption<Options extends object>(options: Options | undefined): Options {
  if (options === undefined) {
    return {} as Options;
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption('the guard options', 'an object', options, 'Pass the options by name.');
  }
  const { address, identify } = options as { address?: unknown; identify?: unknown };
  if (address !== undefined) {
    readFunction('address', address);
    if (identify !== undefined) {
      throw invalidOption(
        'address',
        'left out where `identify` is given',
        address,
        'Call `clientAddress` in `identify` instead.',
      );
    }
  }
  return options;
}

/**
 * The address source of a request whose peer address the application provides.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for an address that is no text
 */
export function toldAddress(address: unknown, headers: Headers): AddressSource {
  if (typeof address !== 'string' && address !== undefined && address !== null) {
    throw invalidOption(
      'address',
      'a function that returns the address as a string',
      address,
      "Return the peer's address, such as `getConnInfo(c).remote.address`.",
    );
  }
  return { remoteAddress: address ?? undefined, header: (name) => headers.get(name) };
}
