#!/bin/sh
# A browser for the tests: it writes down where it was sent, once and whole.
printf %s "$1" >"$BROWSER_SENT_TO.new" && mv "$BROWSER_SENT_TO.new" "$BROWSER_SENT_TO"
