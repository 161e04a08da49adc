import type { Type } from '@nestjs/common';

/** Decorators as the functions that they are, from the top: their syntax is no JavaScript yet. */
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

/** A decorator of a method's parameter, as one of the method. */
export function parameter(index: number, decorator: ParameterDecorator): MethodDecorator {
  return (target, name) => decorator(target, name, index);
}
