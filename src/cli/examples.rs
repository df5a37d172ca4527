//! Examples for the help of the commands that talk to a gateway.

pub(super) const EXEC: &str = "\
Examples:
  cc-gateway login --username alice                 once; then
  cc-gateway exec \"What is in this directory?\"
  git diff | cc-gateway exec - > review.txt
  cc-gateway exec --json \"Fix the failing test\" --permission-mode acceptEdits > events.jsonl

The answer goes to standard output as it comes; all else goes to standard error.";

pub(super) const CHAT: &str = "\
Examples:
  cc-gateway chat
  cc-gateway chat --workspace /srv/project --permission-mode acceptEdits

A line is a message. Ctrl-C ends the turn that runs, Ctrl-D the session.";

pub(super) const ATTACH: &str = "\
Examples:
  cc-gateway attach 0198c0de-1111-7000-8000-000000000001
  cc-gateway attach 0198c0de-1111-7000-8000-000000000001 --after-seq 120
  cc-gateway attach 0198c0de-1111-7000-8000-000000000001 --json
  cc-gateway attach 0198c0de-1111-7000-8000-000000000001 --answer     also answers Claude's questions

`cc-gateway sessions` lists ids. A session that has ended is shown from its log.";

pub(super) const SESSIONS: &str = "\
Examples:
  cc-gateway sessions
  cc-gateway sessions --state running
  cc-gateway sessions --label team=docs --json
  cc-gateway sessions send 0198c0de-1111-7000-8000-000000000001 \"And the tests?\"
  cc-gateway sessions respond 0198c0de-1111-7000-8000-000000000001 ad5a3cfe-77 allow
  cc-gateway sessions configure 0198c0de-1111-7000-8000-000000000001 --permission-mode acceptEdits
  cc-gateway sessions stop 0198c0de-1111-7000-8000-000000000001";

pub(super) const LOGIN: &str = "\
Examples:
  cc-gateway login                                          asks for name and password
  cc-gateway login --username alice --password-file ./password
  cc-gateway login --url http://gateway.example:8001
  cc-gateway login --oidc                                   in your browser, at your company's provider";

pub(super) const LOGOUT: &str = "\
Examples:
  cc-gateway logout
  cc-gateway logout --url http://gateway.example:8001";
