"""Both kinds of database, for the collector's tests too."""

from tests.fleet.store.conftest import database_url as database_url
from tests.fleet.store.conftest import postgresql as postgresql
