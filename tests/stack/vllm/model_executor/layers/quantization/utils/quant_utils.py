kNvfp4Static = "nvfp4 static"
kNvfp4Dynamic = "nvfp4 dynamic"
