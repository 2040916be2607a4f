{% if cookiecutter._source %}{{ cookiecutter._source }}
{% else %}{% include cookiecutter.kind ~ "/module.py.jinja" %}{% endif %}