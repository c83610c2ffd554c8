pg_dump shop
