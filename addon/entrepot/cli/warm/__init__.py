"""``entrepot warm``: images are pulled through the proxy before anybody asks for them."""
