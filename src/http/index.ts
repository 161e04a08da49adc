export { clientAddress, identifyByAddress } from './address/client-address.ts';
export { createGuard } from './guard.ts';
export { decisionOf } from './request-decision.ts';
export { whenEnded } from './request-end.ts';

export type {
  AddressOptions,
  AddressRequest,
  AddressSource,
  ClientAddressOptions,
} from './address/client-address.ts';
export type { ForwardedHeader } from './address/forwarded.ts';
export type { TrustedProxies } from './address/trusted-proxies.ts';
export type { Guard, Pass, Refused, Verdict } from './guard.ts';
export type { GuardOptions, IdentifyingGuardOptions } from './guard-options.ts';
export type { Decided, HeaderContext, HeaderProfile } from './headers.ts';
export type { HeaderFields } from './application-fields.ts';
export type { OnRefused, RefusalResponse, Replacement } from './refusal.ts';
export type { EndedResponse, Finish, NodeResponse, RequestEnd } from './request-end.ts';
export type { FieldRecord } from './application-fields.ts';
export type { ClientOf, RequestWait } from './waiting.ts';
