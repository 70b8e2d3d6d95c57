"""The Space: retinamatch in a web page. `app.py` starts it, `page.py` builds it; README.md says how to publish it."""
