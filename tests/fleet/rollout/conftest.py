"""Both kinds of database, as in the store's own tests."""

from tests.fleet.store.conftest import database_url as database_url
from tests.fleet.store.conftest import postgresql as postgresql
