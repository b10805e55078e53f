"""Prefixes of the keys that vendors issue. A key with such a prefix is recognized in any context.

Sources: the vendors' pages on their token formats, compared with the rules of a public secret scanner.
"""

WITH_UNDERSCORE = tuple(
    line.split()[0]
    for line in """
    gsk_        Groq
    r8_         Replicate
    npm_        npm
    dop_v1_     DigitalOcean
    doo_v1_     DigitalOcean
    dor_v1_     DigitalOcean
    shpat_      Shopify
    shpca_      Shopify
    shppa_      Shopify
    shpss_      Shopify
    lin_api_    Linear
    ntn_        Notion
    glsa_       Grafana
    glc_        Grafana
    lsv2_       LangSmith
    whsec_      Stripe
    rk_test_    Stripe
    sk_prod_    Stripe
    figd_       Figma
    sbp_        Supabase
    aio_        Adafruit
    api_org_    Hugging Face
    duffel_     Duffel
    fo1_        Fly.io
    fm2_        Fly.io
    pscale_     PlanetScale
    pnu_        Prefect
    rdme_       ReadMe
    rubygems_   RubyGems
    sgp_        Sourcegraph
    sntrys_     Sentry
    sntryu_     Sentry
    shippo_     Shippo
    sm_aat_     SettleMint
    sm_pat_     SettleMint
    tfp_        Typeform
    clojars_    Clojars
    """.strip().splitlines()
)
WITH_DASH = tuple(
    line.split()[0]
    for line in """
    xai-        xAI
    pplx-       Perplexity
    pypi-       PyPI
    tvly-       Tavily
    nvapi-      NVIDIA
    PMAK-       Postman
    xkeysib-    Brevo
    tskey-      Tailscale
    dnkey-      Defined Networking
    fio-u-      Frame.io
    HRKU-       Heroku
    ico-        Infracost
    NRAK-       New Relic
    pul-        Pulumi
    sq0atp-     Square
    sq0csp-     Square
    gldt-       GitLab
    glrt-       GitLab
    glptt-      GitLab
    glcbt-      GitLab
    glft-       GitLab
    glimt-      GitLab
    glagent-    GitLab
    gloas-      GitLab
    glsoat-     GitLab
    """.strip().splitlines()
)
WITH_DOT = tuple(
    line.split()[0]
    for line in """
    SG.         SendGrid
    hvs.        HashiCorp Vault
    hvb.        HashiCorp Vault
    dp.pt.      Doppler
    dp.st.      Doppler
    dt0c01.     Dynatrace
    """.strip().splitlines()
)
ALONE = ("ATATT3", "ABSK")
"""Prefixes without a separator: of Atlassian, and of Amazon Bedrock."""
