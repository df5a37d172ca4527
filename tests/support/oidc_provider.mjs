// A certified OpenID provider on loopback, for the tests: `node oidc_provider.mjs <module> <redirect uri>`.
// It prints its port. Whoever logs in as NAME has the claims that stand in `people`.
import http from "node:http";
import { pathToFileURL } from "node:url";

// Nobody reads on once the port is told, and a pipe that nobody reads would end this program.
const say = console.log;
console.log = console.info = console.warn = () => {};

const [module, redirectUri] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(module));

const people = {
  ada: { preferred_username: "ada", groups: ["staff", "gateway-admins"], hd: "example.com" },
  bob: { preferred_username: "bob", groups: ["staff"], hd: "example.com" },
  admin: { preferred_username: "admin", groups: ["staff"], hd: "example.com" },
  eve: { preferred_username: "eve", groups: ["visitors"], hd: "example.com" },
  mallory: { preferred_username: "mallory", groups: ["gateway-admins"], hd: "example.org" },
};

const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ client_id: "gateway", client_secret: "canary-client-secret-91c2", redirect_uris: [redirectUri] }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups", "hd"] },
    scopes: ["openid", "profile"],
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  });
  const answer = provider.callback();
  server.on("request", (request, response) => {
    // A test changes what a person may do: POST /people/NAME with the claims.
    const name = request.url.match(/^\/people\/(\w+)$/)?.[1];
    if (!name) return answer(request, response);
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      people[name] = JSON.parse(body);
      response.end();
    });
  });
  say(port);
});
