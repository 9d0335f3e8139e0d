// How the page reaches its server, and shows its token.
const KEY = "unmingle-token";

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export function openStream() {
  const address = new URL("v1/stream", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  const token = sessionStorage.getItem(KEY);
  return new WebSocket(address, token ? ["unmingle", `token.${token}`] : ["unmingle"]);
}
