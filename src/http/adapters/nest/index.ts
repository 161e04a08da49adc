export { clientAddress, identifyByAddress } from '../../address/client-address.ts';
export { decisionOf } from '../../request-decision.ts';
export { RateLimit, SkipRateLimit } from './decorators.ts';
export { RateLimitException } from './exception.ts';
export { RateLimitGuard } from './guard.ts';
export { RateLimitModule } from './module.ts';

export type { NestRequest } from './call.ts';
export type {
  RateLimitDefaults,
  RateLimitModuleAsyncOptions,
  RateLimitModuleOptions,
} from './module.ts';
export type { RateLimitLimiterOptions, RateLimitRuleOptions } from './rule.ts';
export type { GuardOptions } from '../../guard-options.ts';
