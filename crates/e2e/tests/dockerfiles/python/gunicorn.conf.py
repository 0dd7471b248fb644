import os

bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = 1
threads = 2
worker_tmp_dir = "/dev/shm"
accesslog = "-"
