import { subscribe } from 'node:diagnostics_channel';

/**
 * The used part of a route's options. Fastify reads their hooks when the application starts, not when a route is
 * added.
 */
export interface Route {
  config?: Readonly<Record<PropertyKey, unknown>> & { readonly rateLimit?: unknown };
  preHandler?: unknown;
}

/** A route, and the instance that it was added to. */
interface Added {
  readonly instance: object;
  readonly route: Route;
}

interface Instance {
  addHook(name: 'onRoute', hook: (this: object, route: Route) => void): unknown;
}

/** Added routes, by the root instance of the application. */
const added = new WeakMap<object, Added[]>();

// A plugin is loaded after the routes that follow it in the program, and Fastify keeps no list of routes.
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify?: Instance & object };
  if (typeof fastify?.addHook === 'function') {
    const routes: Added[] = [];
    added.set(fastify, routes);
    fastify.addHook('onRoute', function note(route) {
      routes.push({ instance: this, route });
    });
  }
});

/**
 * The routes added so far to the instance and to those below it. Undefined if the application was made before this
 * module was loaded.
 */
export function routesOf(instance: object): readonly Route[] | undefined {
  for (let above: object | null = instance; above !== null; above = Object.getPrototypeOf(above)) {
    const routes = added.get(above);
    if (routes !== undefined) {
      return routes
        .filter((each) => each.instance === instance || isBelow(each.instance, instance))
        .map(({ route }) => route);
    }
  }
  return undefined;
}

function isBelow(instance: object, above: object): boolean {
  return Object.prototype.isPrototypeOf.call(above, instance);
}

/** Adds a hook after a route's own hooks, so that it is the last before the handler. */
export function appendPreHandler(route: Route, hook: (...args: never[]) => unknown): void {
  const { preHandler } = route;
  const hooks: readonly unknown[] = Array.isArray(preHandler) ? preHandler : [preHandler];
  // A new list, because the application may have passed one list to several routes.
  route.preHandler = [...hooks.filter((own) => own !== undefined), hook];
}
