"""The lab's fixture, for the tests here that look at a running mesh."""

from lab.conftest import lab as lab
