import type { Type } from '@nestjs/common';

/** Applies decorators as plain functions, from top to bottom, because JavaScript has no syntax for them yet. */
export function decorate<T extends Type<unknown>>(
  target: T,
  decorators: readonly ClassDecorator[],
  methods: Readonly<Record<string, readonly MethodDecorator[]>> = {},
): T {
  for (const [name, ofMethod] of Object.entries(methods)) {
    const descriptor = Object.getOwnPropertyDescriptor(target.prototype, name)!;
    for (const each of ofMethod.toReversed()) each(target.prototype as object, name, descriptor);
  }
  for (const each of decorators.toReversed()) each(target);
  return target;
}

/** Turns a parameter decorator into a method decorator. */
export function parameter(index: number, decorator: ParameterDecorator): MethodDecorator {
  return (target, name) => decorator(target, name, index);
}
