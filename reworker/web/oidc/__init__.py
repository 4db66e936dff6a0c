"""Login through a provider of identities: OpenID Connect, with a code and PKCE."""
