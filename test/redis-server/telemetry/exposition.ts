/** Prometheus's text format by series, with labels in alphabetical order: `name{a="1",b="2"}`. */
export function readExposition(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name !== undefined) {
      const sorted = labels
        .split(/,(?=\w+=")/)
        .sort()
        .join();
      series.set(sorted === '' ? name : `${name}{${sorted}}`, Number(value));
    }
  }
  return series;
}
