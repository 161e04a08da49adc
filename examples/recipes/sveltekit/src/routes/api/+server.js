let visitors = 0;

/** @type {import('@sveltejs/kit').RequestHandler} */
export const GET = () => {
  visitors += 1;
  return new Response(`hello, visitor ${visitors}`);
};
