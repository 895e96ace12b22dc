-- Gives the role of the service a login before the first migration would make it without one.
-- It owns nothing: what it may do is granted by the migrations, which run as the owner.
\getenv password TRIBUTARY_SERVICE_PASSWORD
create role tributary_service login password :'password';
