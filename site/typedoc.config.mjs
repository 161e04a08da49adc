/** The API reference: one page for each entry of the package, made of the docstrings in its declarations. */
import { declarations, entries } from './typedoc-entries.mjs';

/** @param {{ name: string }} module */
function titleOf({ name }) {
  return [...entries.values()][0] === name ? name : `${[...entries.values()][0]}/${name}`;
}

export default {
  plugin: ['typedoc-plugin-markdown', 'typedoc-plugin-missing-exports', './typedoc-entries.mjs'],
  tsconfig: 'tsconfig.api.json',
  basePath: declarations,
  entryPoints: [...entries.keys()],
  out: 'api',
  entryFileName: 'index',
  readme: 'none',
  name: 'API reference',
  outputFileStrategy: 'modules',
  hideBreadcrumbs: true,
  hidePageHeader: true,
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  placeInternalsInOwningModule: true,
  useCodeBlocks: true,
  parametersFormat: 'table',
  pageTitleTemplates: { index: 'API reference', module: titleOf },
  disableSources: true,
  treatWarningsAsErrors: true,
};
