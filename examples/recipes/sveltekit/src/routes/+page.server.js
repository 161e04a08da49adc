/** @type {import('@sveltejs/kit').ServerLoad} */
export async function load({ fetch }) {
  const response = await fetch('/api');
  return { greeting: await response.text() };
}
