/** GraphQL Yoga: a plugin that charges each operation for the fields that it selects. */
import { GraphQLError, visit } from 'graphql';
import { createSchema, createYoga } from 'graphql-yoga';
import { createServer } from 'node:http';
import { RateLimiter } from 'distributed-rate-limiter';
import { identifyByAddress } from 'distributed-rate-limiter/http';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';

const limiter = new RateLimiter({ ...place, namespace: 'yoga', rate: 5, period: '1m' });
const identify = identifyByAddress();

/** Fields of a document, those of its fragments once. A schema may weigh them: a list costs what it returns. */
function countFields(document) {
  let fields = 0;
  visit(document, { Field: () => void (fields += 1) });
  return fields;
}

const limitOperations = {
  async onExecute({ args, setResultAndStopExecution }) {
    const { req } = args.contextValue;
    const decision = await limiter.allow(identify(req), { cost: countFields(args.document) });
    if (decision.allowed) {
      return;
    }
    const { degraded, retryAfterMs } = decision;
    const wait =
      degraded || retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1_000);
    const error = new GraphQLError('Too many fields', {
      extensions: {
        code: 'RATE_LIMITED',
        http: {
          status: degraded ? 503 : 429,
          headers: wait === undefined ? {} : { 'Retry-After': String(wait) },
        },
      },
    });
    setResultAndStopExecution({ errors: [error] });
  },
};

const yoga = createYoga({
  schema: createSchema({
    typeDefs: 'type Query { hello: String, city: String }',
    resolvers: { Query: { hello: () => 'hello', city: () => 'Berlin' } },
  }),
  plugins: [limitOperations],
  logging: false,
});

await run(createServer(yoga), limiter);
