#!/bin/sh
# Run by the feed's continuous integration on the installed package: $1 is its name, $2 its version.

case "$1" in
bgpmesh | bgpmesh-python3)
	bgpmesh --version | grep -F "$2" || exit 1
	bgpmesh check | grep -F "option 'enabled' is 0" || exit 1
	;;
esac
