export interface AddressSource {
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
}
export interface AddressOptions {
  trustedProxies?: readonly string[];
  forwardedHeader?: 'x-forwarded-for' | 'forwarded';
  ipv6Prefix?: number;
}
export function identifyByAddress(_options: AddressOptions) {
  return (source: AddressSource): string | undefined => source.socket?.remoteAddress;
}
export function clientAddress(source: AddressSource): string | undefined {
  return source.socket?.remoteAddress;
}
