/** Types for packages that have none. */
declare module 'express4' {
  export { default } from 'express';
}

// The types of @nestjs/graphql and @nestjs/apollo name it for features not used here.
declare module '@apollo/gateway' {
  export type GatewayConfig = object;
}
declare module 'ts-morph' {
  export type ClassDeclarationStructure = object;
  export type EnumDeclarationStructure = object;
  export type InterfaceDeclarationStructure = object;
  export type MethodDeclarationStructure = object;
  export type MethodSignatureStructure = object;
  export type ParameterDeclarationStructure = object;
  export type PropertyDeclarationStructure = object;
  export type PropertySignatureStructure = object;
  export type SourceFile = object;
  export type TypeAliasDeclarationStructure = object;
  export type OptionalKind<T> = T;
}
