import getpass
import sys

from flask import Flask, jsonify, render_template_string, request

app = Flask(__name__)
PAGE = "<p>Welcome, {{ name }}.</p>"


@app.get("/page/<name>")
def page(name):
    return render_template_string(PAGE, name=name)


@app.get("/sum")
def total():
    return jsonify(sum=sum(int(n) for n in request.args.getlist("n")))


@app.get("/who")
def who():
    return jsonify(user=getpass.getuser(), prefix=sys.prefix)
