"""The fleet's database: tables, migrations, and how it is opened."""
