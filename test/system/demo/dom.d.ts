/**
 * The names of the DOM that playwright-core's types mention. The library `dom` would define all of them for the sources
 * too, which run in no browser.
 */
interface Node {
  readonly nodeType: number;
}
interface HTMLElement extends Node {
  readonly innerText: string;
}
interface SVGElement extends Node {
  readonly ownerSVGElement: unknown;
}
interface HTMLElementTagNameMap {
  readonly body: HTMLElement;
}
